"""A study that is damaged and malicious in every way that its readers have to bear; one module per subject."""
