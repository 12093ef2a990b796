"""One ordered byte stream each way behind one small interface."""
