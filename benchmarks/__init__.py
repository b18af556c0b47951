"""Each promise about speed or size as a measurement, side by side with LangGraph."""
