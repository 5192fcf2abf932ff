//! What is wrong with some hosts is no harm to the others.
