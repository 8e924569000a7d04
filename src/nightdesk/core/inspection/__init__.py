"""What is asked about exchanges: found by a query, compared, added up, told as a conversation, sent again."""
