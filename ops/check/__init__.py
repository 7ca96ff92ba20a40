"""What can be known of a service before a cluster is paid for: every check reads files only, and none needs a GPU."""
