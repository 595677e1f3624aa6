//! Links, addresses, firewall rules and address leases of containers, over netlink.
