@main struct SimulateEntry { static func main() {} }
