"""What the state consists of: channels, reducers, schemas, messages."""
