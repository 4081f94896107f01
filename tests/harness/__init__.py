"""What tests on a real cluster are written with: typed helpers, and waiting that explains itself when it ends badly."""
