"""What a model is: its dimensions, from a catalogue, a Hugging Face config, or inferred from what was said."""
