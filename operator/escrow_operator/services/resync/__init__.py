"""Again and again for all there is: full lists, orphans, drift."""
