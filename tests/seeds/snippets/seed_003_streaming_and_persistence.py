# mypy: ignore-errors

# %% updates mode
agent = create_deep_agent(
    model="anthropic:claude-sonnet-4-20250514",
    checkpointer=checkpointer,
)

config = {"configurable": {"thread_id": "thread-123"}}

for event in agent.stream(
    {"messages": [{"role": "user", "content": "Research AI trends"}]},
    config=config,
    stream_mode="updates",
):
    # Each event is a dict of state updates from a single node
    print(event)

# %% messages mode
for event in agent.stream(
    {"messages": [{"role": "user", "content": "Explain quantum computing"}]},
    config=config,
    stream_mode="messages",
):
    # Token-by-token streaming for real-time display
    if hasattr(event, 'content'):
        print(event.content, end="", flush=True)

# %% async streaming
async for event in agent.astream(
    {"messages": [{"role": "user", "content": "Research competitors"}]},
    config=config,
    stream_mode="updates",
):
    await process_event(event)

# %% development
from durable_graph_sqlite import SqliteSaver

checkpointer = SqliteSaver.from_conn_string("agent.db")

agent = create_deep_agent(
    model="anthropic:claude-sonnet-4-20250514",
    checkpointer=checkpointer,
)

# %% production
from tests.seeds.standins import PostgresSaver

checkpointer = PostgresSaver.from_conn_string(
    "postgresql://user:pass@host:5432/agents"
)

agent = create_deep_agent(
    model="anthropic:claude-sonnet-4-20250514",
    checkpointer=checkpointer,
)

# %% thread management
config = {"configurable": {"thread_id": "user-123-session-456"}}

# Turn 1
result = agent.invoke(
    {"messages": [{"role": "user", "content": "Research AI startups"}]},
    config=config,
)

# Turn 2 (same thread - conversation continues)
result = agent.invoke(
    {"messages": [{"role": "user", "content": "Focus on healthcare AI"}]},
    config=config,
)

# %% crash recovery
# Process crashes during a long research task...

# When the process restarts, just invoke with the same thread_id:
result = agent.invoke(
    {"messages": [{"role": "user", "content": "Continue where you left off"}]},
    config={"configurable": {"thread_id": "thread-123"}},
)
# Agent sees full conversation history from checkpoint and continues

# %% production setup
from tests.seeds.standins import create_deep_agent
from tests.seeds.standins import PostgresSaver
from tests.seeds.standins import PostgresStore
from tests.seeds.standins import CompositeBackend, StateBackend, StoreBackend

# Production-grade persistence
checkpointer = PostgresSaver.from_conn_string("postgresql://...")
store = PostgresStore.from_conn_string("postgresql://...")

agent = create_deep_agent(
    model="anthropic:claude-sonnet-4-20250514",
    checkpointer=checkpointer,
    store=store,
    backend=lambda rt: CompositeBackend(
        default=StateBackend(rt),
        routes={"/memories/": StoreBackend(rt)},
    ),
)

# Stream for visibility
config = {"configurable": {"thread_id": f"user-{user_id}"}}

for event in agent.stream(
    {"messages": [{"role": "user", "content": user_message}]},
    config=config,
    stream_mode="updates",
):
    send_to_client(event)

# %% wrong: memory saver in production
# WRONG: MemorySaver in production
from durable_graph import MemorySaver
agent = create_deep_agent(checkpointer=MemorySaver())
# Data lost on restart! Use SqliteSaver or PostgresSaver

# %% wrong: no thread_id
# WRONG: No thread_id
result = agent.invoke({"messages": [...]})
# No persistence, no multi-turn conversation

# %% wrong: invoke for long-running tasks
# WRONG: Using invoke() for long-running tasks
result = agent.invoke(...)  # Blocks with no visibility
# Use stream() with stream_mode="updates"

# %% wrong: same thread_id for different users
# WRONG: Same thread_id for different users
config = {"configurable": {"thread_id": "main"}}  # All users share state!

# %% wrong: no checkpointer with hitl
# WRONG: No checkpointer with HITL
agent = create_deep_agent(
    interrupt_on={"delete_file": True},
    # Missing checkpointer - can't pause and resume!
)
