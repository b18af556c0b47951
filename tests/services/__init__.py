"""Storage systems for tests, one file for each: whoever asks first starts them."""
