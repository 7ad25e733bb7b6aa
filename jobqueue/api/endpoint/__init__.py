"""What each address answers. Thin: take the parsed request, ask the queue, show the answer."""
