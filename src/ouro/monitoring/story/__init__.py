"""The whole story of one opportunity, plan or attempt, from books and audit trail, in figures and in words."""
