"""What connects advbg with other libraries; each imports its own only where it is used."""
