"""The background process of a desk: everything that reads, writes, starts or signals."""
