"""What people look at: run folders as data for pages, the pages, and files made of both."""
