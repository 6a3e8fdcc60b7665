//! Tells the linker that Node gives the symbols of its interface when it loads the module.

fn main() {
    napi_build::setup();
}
