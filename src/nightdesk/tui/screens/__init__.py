"""One screen per mode, with its layout."""
