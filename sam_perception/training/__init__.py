"""Training of the `tabletop` model: data, prompts, losses and the loop around them."""
