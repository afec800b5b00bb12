# The usual targets, for people and packagers who expect them. Each calls `cargo xtask`.
#
#   make                                 builds the library
#   make install PREFIX=/usr DESTDIR=d   installs below d/usr
#   make check                           runs the tests; installs nothing

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all check dist install rust

all: rust
	$(CARGO) build --release --package hz3-c

install: rust
	$(CARGO) xtask install --prefix '$(PREFIX)' $(if $(DESTDIR),--destdir '$(DESTDIR)')

dist: rust
	$(CARGO) xtask dist

check: rust
	$(CARGO) xtask test

# An older cargo cannot read this workspace and says so in words that do not help.
rust:
	@CARGO='$(CARGO)' sh packaging/require-rust
