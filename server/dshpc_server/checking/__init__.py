"""Looking a server's data over: what is wrong with it, and what of that can be put right."""
