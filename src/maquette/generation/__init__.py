"""Making pictures: one picture a forward pass, so that previews and `maquette generate` give the same bytes."""
