// From the sample to the whole: seconds, dollars and confidence.

package import ClusterModel

/// What recognising one image of a sample came to.
package struct PlanMeasurement: Hashable, Sendable {
    /// Of one slot, for all pages of the file; nil where it failed.
    package var seconds: Double?
    /// Mean confidence of its words; nil where it has none.
    package var confidence: Double?
    package var failure: Failure?
    /// Whether models were loaded for it: its time says little about later ones.
    package var isFirst: Bool

    package init(seconds: Double? = nil, confidence: Double? = nil, failure: Failure? = nil, isFirst: Bool = false) {
        self.seconds = seconds
        self.confidence = confidence
        self.failure = failure
        self.isFirst = isFirst
    }
}

/// A figure and the interval in which the true one is with 95 %, as far as a sample can tell.
package struct PlanEstimate: Hashable, Sendable {
    package var value: Double
    package var low: Double
    package var high: Double

    static func * (estimate: PlanEstimate, factor: Double) -> PlanEstimate {
        PlanEstimate(value: estimate.value * factor, low: estimate.low * factor, high: estimate.high * factor)
    }
}

/// What a set of models would make of all images.
package struct PlanForecast: Hashable, Sendable {
    /// Images of the sample that failed for one reason.
    package struct FailureCount: Hashable, Sendable {
        package let name: String
        package let count: Int
    }

    /// Of one slot for one image; nil where no image of the sample was recognised.
    package let secondsPerImage: PlanEstimate?
    package let hours: PlanEstimate?
    package let dollars: PlanEstimate?
    /// Mean over the images that have words, and the part of those below `lowConfidence`, 0...1.
    package let confidence: Double?
    package let lowConfidenceShare: Double?
    package let failedShare: Double
    /// Failures of the sample by their names, the most frequent first.
    package let failures: [FailureCount]
    package let sampleCount: Int

    /// Pages below it are worth a second look (`node redo --below-confidence 60`).
    package static let lowConfidence = 60.0
    /// Standard errors on either side of a mean that hold the true one with 95 %.
    private static let quantile = 1.96

    /// - Parameters:
    ///   - measurements: of the sample, slots of this machine working side by side.
    ///   - imageCount: of all.
    ///   - slots: of each machine.
    ///   - machines: 1 or more.
    ///   - costPerHour: dollars, of one machine; nil where nobody has said.
    package init(
        _ measurements: [PlanMeasurement], imageCount: Int, slots: Int, machines: Int, costPerHour: Double?
    ) {
        sampleCount = measurements.count
        let warm = measurements.filter { !$0.isFirst }.compactMap(\.seconds)
        let times = warm.isEmpty ? measurements.compactMap(\.seconds) : warm
        let failed = measurements.compactMap(\.failure)
        failedShare = measurements.isEmpty ? 0 : Double(failed.count) / Double(measurements.count)
        failures = Dictionary(grouping: failed, by: \.code.name).map {
            FailureCount(name: $0.key, count: $0.value.count)
        }
        .sorted { ($1.count, $0.name) < ($0.count, $1.name) }
        secondsPerImage = Self.mean(times)
        // A failed image costs next to nothing; the others are what takes the time.
        let recognised = Double(imageCount) * (1 - failedShare)
        hours = secondsPerImage.map { $0 * (recognised / 3_600 / Double(max(1, slots)) / Double(max(1, machines))) }
        let price = costPerHour.map { $0 * Double(max(1, machines)) }
        dollars = hours.flatMap { hours in price.map { hours * $0 } }
        let confidences = measurements.compactMap(\.confidence)
        confidence = confidences.isEmpty ? nil : confidences.reduce(0, +) / Double(confidences.count)
        lowConfidenceShare =
            confidences.isEmpty
            ? nil : Double(confidences.count { $0 < Self.lowConfidence }) / Double(confidences.count)
    }

    private static func mean(_ values: [Double]) -> PlanEstimate? {
        guard !values.isEmpty else { return nil }
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        guard values.count > 1 else { return PlanEstimate(value: mean, low: 0, high: .infinity) }
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
        let margin = quantile * (variance / count).squareRoot()
        return PlanEstimate(value: mean, low: max(0, mean - margin), high: mean + margin)
    }
}
