"""What neither resources nor faces are about: names, checks, reports, wrapping. It knows no other wing."""
