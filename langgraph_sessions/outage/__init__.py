"""What happens while the database is away."""
