"""One shared resource and many of a kind, without any face. It knows `_support` and the counter."""
