"""What one site's own jobs add to the bundle that ships."""
