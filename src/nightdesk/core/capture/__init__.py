"""From packets to exchanges: packets → streams → http1 → dialects → exchanges, with everything between them."""
