"""How fast dynvae is, beside the published code and beside what the machine's arithmetic allows. See README.md."""
