//! Nothing but its manifest: the features that all of the workspace's tests together ask for.
