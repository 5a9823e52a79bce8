import ArgumentParser
@main struct TrialCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "node", subcommands: clientCommands)
}
