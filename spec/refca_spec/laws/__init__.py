"""One file of laws for each chapter of `spec/`. A law is named for the constraint that it holds."""
