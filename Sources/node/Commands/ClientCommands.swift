import ArgumentParser

/// The commands that speak to a running node, in the order in which help lists them.
package let clientCommands: [any AsyncParsableCommand.Type] = [
    StatusCommand.self, SubmitCommand.self, WaitCommand.self, JobsCommand.self, ShowCommand.self, RetryCommand.self,
    CancelCommand.self, RelabelCommand.self, PauseCommand.self, ResumeCommand.self, BatchesCommand.self,
    BatchCommand.self,
    WatchCommand.self, PlanCommand.self, ExportCommand.self, SearchCommand.self, DrainCommand.self, KeysCommand.self,
]
