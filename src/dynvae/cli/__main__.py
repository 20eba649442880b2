"""``python -m dynvae.cli`` is the ``dynvae`` command."""

from dynvae.cli import main

raise SystemExit(main())
