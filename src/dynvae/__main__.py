"""``python -m dynvae`` is the ``dynvae`` command."""

from dynvae.cli import main

raise SystemExit(main())
