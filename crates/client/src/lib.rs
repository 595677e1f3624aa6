//! Engine API client over a unix or TCP socket, with hijacked streams.
