# The commands of this project. What they do is in scripts/; `make help` lists them.

.POSIX:
.PHONY: help demo test soak bench

help:
	@echo 'make demo          install what is missing, build, start, charge a card, serve until Ctrl-C'
	@echo 'make demo ONCE=1   the same, but end after the charge'
	@echo 'make test          everything that CI runs'
	@echo 'make soak          ten minutes of faults and kills, and then the books are compared'
	@echo 'make bench         what Orchestra costs beside a bare Pingora: a table and a plot'
	@echo
	@echo 'ORCHESTRA_SOAK_S=N       storm for N seconds instead of 600 (make soak)'
	@echo 'ORCHESTRA_VAR=DIR        put the files of the demo into DIR instead of var/demo'
	@echo 'ORCHESTRA_PORT_BASE=N    use the ports N to N+3 instead of 8443, 8080, 9464 and 9500'

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

soak:
	@scripts/soak.sh

bench:
	@scripts/bench.sh
