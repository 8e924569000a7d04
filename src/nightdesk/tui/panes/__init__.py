"""One pane per file: a frozen view in, messages out."""
