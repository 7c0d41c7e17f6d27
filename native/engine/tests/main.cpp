/** Owns running all tests, or those whose name contains the first argument. */
#include "tests/check.h"

int main(int argc, char** argv) { return tessera::tests::run_all(argc > 1 ? argv[1] : ""); }
