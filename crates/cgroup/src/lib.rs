//! Control groups: limits as text, statistics, device rules, for cgroup v1 and v2.
