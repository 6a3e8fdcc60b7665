//! `@handfast/native-…`: the client, the recipes and an embedded server for Node.
