//! Black-box checks of an engine over its API and a docker client.
