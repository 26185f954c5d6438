"""Training the projection: captioned photos, cached features, a resumable loop."""
