"""A support desk, drawn: as Mermaid for a README, as text, and as pictures in files."""

from typing import Literal, TypedDict

from durable_graph import END, START, Command, StateGraph


class Ticket(TypedDict, total=False):
    text: str
    answer: str


def triage(ticket: Ticket) -> Command[Literal["search", "person"]]:
    return Command(goto="search" if "?" in ticket["text"] else "person")


def search(ticket: Ticket) -> Ticket:
    return {"answer": "See the manual."}


def person(ticket: Ticket) -> Ticket:
    return {"answer": "A person will call."}


def check(ticket: Ticket) -> Ticket:
    return {}


def good(ticket: Ticket) -> str:
    return "yes" if ticket["answer"] else "no"


def send(ticket: Ticket) -> None:
    print(ticket["answer"])


desk = StateGraph(Ticket).add_node(triage).add_node(search).add_node(person)
desk.add_node(check).add_node(send, metadata={"by": "mail"})
desk.add_edge(START, "triage").add_edge("search", "check").add_edge("person", "send")
desk.add_conditional_edges("check", good, {"yes": "send", "no": "triage"}).add_edge("send", END)
support = desk.compile(interrupt_before=["send"])

graph = support.get_graph()
print(graph.draw_mermaid(with_styles=False))
graph.print_ascii()
graph.draw_png("support.png")
graph.draw_svg("support.svg")
graph.draw_mermaid_png(output_file_path="support_by_mermaid.png")
