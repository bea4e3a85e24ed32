"""What the training benchmark is made of: random packs, and the trainings that take turns."""
