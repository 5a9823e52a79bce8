// What `node plan` says.

internal import NodeRuntime
internal import Results

struct PlanReport: Sendable {
    /// A set of models that the sample was recognised with.
    struct Models: Sendable {
        /// "fast" or "best".
        let name: String
        let directory: String?
        /// Why nothing was recognised with it.
        var complaint: String?
    }

    var imageCount: Int
    /// Of the images whose size is known.
    var byteCount: Int64
    var skippedCount: Int
    var sampleCount: Int
    var slots: Int
    var machines: Int
    var costPerHour: Double?
    var forecasts: [(models: Models, forecast: PlanForecast?)]

    /// Whether there is a prediction at all.
    var hasForecast: Bool { forecasts.contains { $0.forecast?.hours != nil } }

    // MARK: JSON

    var json: JSONValue {
        .object([
            ("images", JSONValue(imageCount)), ("bytes", JSONValue(Int(byteCount))),
            ("skipped", JSONValue(skippedCount)),
            ("sample", JSONValue(sampleCount)), ("machines", JSONValue(machines)), ("workers", JSONValue(slots)),
            ("cost_per_hour", costPerHour.map { .double($0) } ?? .null),
            ("profiles", .array(forecasts.map { Self.json($0.models, $0.forecast) })),
        ])
    }

    private static func json(_ models: Models, _ forecast: PlanForecast?) -> JSONValue {
        func number(_ value: Double?) -> JSONValue {
            value.flatMap { $0.isFinite ? .double($0) : nil } ?? .null
        }
        func estimate(_ name: String, _ estimate: PlanEstimate?) -> [(String, JSONValue)] {
            [
                (name, number(estimate?.value)), ("\(name)_low", number(estimate?.low)),
                ("\(name)_high", number(estimate?.high)),
            ]
        }
        return .object(
            [("profile", .text(models.name)), ("models", JSONValue(models.directory))]
                + estimate("seconds_per_image", forecast?.secondsPerImage) + estimate("hours", forecast?.hours)
                + estimate("dollars", forecast?.dollars) + [
                    ("confidence", number(forecast?.confidence)),
                    ("low_confidence_share", number(forecast?.lowConfidenceShare)),
                    ("failed_share", number(forecast?.failedShare)),
                    (
                        "failures",
                        .object((forecast?.failures ?? []).map { ($0.name, JSONValue($0.count)) })
                    ),
                    ("reason", JSONValue(models.complaint)),
                ])
    }

    // MARK: Text

    var text: String {
        var lines = [
            "\(HumanText.count(UInt64(imageCount))) images, \(HumanText.bytes(UInt64(max(0, byteCount))))"
                + (skippedCount > 0 ? ", \(HumanText.count(UInt64(skippedCount))) skipped" : "")
                + "; \(HumanText.count(UInt64(sampleCount))) of them recognised; "
                + "\(HumanText.count(UInt64(machines))) \(machines == 1 ? "machine" : "machines") of \(slots) workers"
        ]
        var table = TextTable([
            .text("PROFILE"), .number("S/IMAGE"), .number("HOURS"), .text("(95 %)"), .number("DOLLARS"),
            .number("CONFIDENCE"), .number("BELOW 60"), .number("FAILED"),
        ])
        for (models, forecast) in forecasts {
            guard let forecast else { continue }
            let below = forecast.lowConfidenceShare
            table.add([
                models.name, HumanText.amount(forecast.secondsPerImage?.value), HumanText.amount(forecast.hours?.value),
                Self.range(forecast.hours), HumanText.amount(forecast.dollars?.value),
                HumanText.rate(forecast.confidence), HumanText.percent(below), HumanText.percent(forecast.failedShare),
            ])
        }
        lines += table.lines
        for (models, forecast) in forecasts {
            if let complaint = models.complaint { lines.append("\(models.name): \(complaint)") }
            guard let failures = forecast?.failures, !failures.isEmpty else { continue }
            let list = failures.map { "\($0.count) \($0.name)" }.joined(separator: ", ")
            lines.append("\(models.name): of the sample failed \(list)")
        }
        if costPerHour == nil {
            lines.append("no price: name one with --cost-per-hour, or cost_per_hour in cluster.conf")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func range(_ estimate: PlanEstimate?) -> String {
        guard let estimate, estimate.high.isFinite else { return "–" }
        return "\(HumanText.amount(estimate.low))–\(HumanText.amount(estimate.high))"
    }
}
