"""Jobs of any other kind, predicted from their own history."""
