"""Pictures of graphs: as Mermaid, as text, as SVG and PNG; without any web service."""

from durable_graph.drawing.graph import Edge, Graph, Node
from durable_graph.drawing.mermaid import NodeStyles

__all__ = ["Edge", "Graph", "Node", "NodeStyles"]
