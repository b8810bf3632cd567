"""Tables, figures, the HTML page, challenge submissions. Never nnU-Net."""
