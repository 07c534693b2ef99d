/* Requests of the open inference protocol put together by hand, in both forms of tensors. */
#ifndef MOERING_TESTS_SERVER_KSERVE_KSERVE_SUPPORT_H
#define MOERING_TESTS_SERVER_KSERVE_KSERVE_SUPPORT_H

#include <inference/inference.pb-c.h>

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace kserve_test {

using Input = Inference__ModelInferRequest__InferInputTensor;
using Output = Inference__ModelInferRequest__InferRequestedOutputTensor;
using Entry = Inference__ModelInferRequest__ParametersEntry;

template <typename M> std::string Pack(const M &m)
{
    std::string out(protobuf_c_message_get_packed_size(&m.base), '\0');
    protobuf_c_message_pack(&m.base, reinterpret_cast<uint8_t *>(&out[0]));
    return out;
}

/* Owns all that the message points at. */
class Request {
  public:
    Inference__ModelInferRequest m;

    Request() { inference__model_infer_request__init(&m); }
    explicit Request(const std::string &text) : Request() { Texts("text_input", {text}); }
    Request(const Request &) = delete;
    Request &operator=(const Request &) = delete;

    Input &Add(const std::string &name, const std::string &type, std::vector<int64_t> shape)
    {
        inputs_.emplace_back();
        contents_.emplace_back();
        Input &input = inputs_.back();
        inference__model_infer_request__infer_input_tensor__init(&input);
        inference__infer_tensor_contents__init(&contents_.back());
        shapes_.push_back(std::move(shape));
        input.name = Keep(name);
        input.datatype = Keep(type);
        input.n_shape = shapes_.back().size();
        input.shape = shapes_.back().data();
        input.contents = &contents_.back();
        input_list_.push_back(&input);
        m.n_inputs = input_list_.size();
        m.inputs = input_list_.data();
        return input;
    }
    void Texts(const std::string &name, const std::vector<std::string> &texts,
               std::vector<int64_t> shape = {})
    {
        if (shape.empty())
            shape = {(int64_t)texts.size()};
        Input &input = Add(name, "BYTES", std::move(shape));
        bytes_.emplace_back();
        for (const std::string &text : texts)
            bytes_.back().push_back(Bytes(text));
        input.contents->n_bytes_contents = texts.size();
        input.contents->bytes_contents = bytes_.back().data();
    }
    void Int(const std::string &name, int32_t value)
    {
        ints_.push_back(value);
        Input &input = Add(name, "INT32", {1});
        input.contents->n_int_contents = 1;
        input.contents->int_contents = &ints_.back();
    }
    void Ints(const std::string &name, std::vector<int64_t> shape, std::vector<int32_t> values)
    {
        int_lists_.push_back(std::move(values));
        Input &input = Add(name, "INT32", std::move(shape));
        input.contents->n_int_contents = int_lists_.back().size();
        input.contents->int_contents = int_lists_.back().data();
    }
    void Longs(const std::string &name, std::vector<int64_t> shape, std::vector<int64_t> values)
    {
        long_lists_.push_back(std::move(values));
        Input &input = Add(name, "INT64", std::move(shape));
        input.contents->n_int64_contents = long_lists_.back().size();
        input.contents->int64_contents = long_lists_.back().data();
    }
    void Float(const std::string &name, float value)
    {
        floats_.push_back(value);
        Input &input = Add(name, "FP32", {1});
        input.contents->n_fp32_contents = 1;
        input.contents->fp32_contents = &floats_.back();
    }
    void Bool(const std::string &name, bool value)
    {
        bools_.push_back(value);
        Input &input = Add(name, "BOOL", {1});
        input.contents->n_bool_contents = 1;
        input.contents->bool_contents = &bools_.back();
    }
    /* In the raw form; all inputs of a request are then to be in it. */
    void Raw(const std::string &name, const std::string &type, std::vector<int64_t> shape,
             const std::string &bytes)
    {
        Add(name, type, std::move(shape)).contents = nullptr;
        raw_.push_back(Bytes(bytes));
        m.n_raw_input_contents = raw_.size();
        m.raw_input_contents = raw_.data();
    }
    static std::string RawText(const std::string &text)
    {
        uint32_t n = (uint32_t)text.size();
        return std::string({(char)n, (char)(n >> 8), (char)(n >> 16), (char)(n >> 24)}) + text;
    }
    Inference__InferParameter &Parameter(const std::string &name)
    {
        values_.emplace_back();
        entries_.emplace_back();
        inference__infer_parameter__init(&values_.back());
        inference__model_infer_request__parameters_entry__init(&entries_.back());
        entries_.back().key = Keep(name);
        entries_.back().value = &values_.back();
        entry_list_.push_back(&entries_.back());
        m.n_parameters = entry_list_.size();
        m.parameters = entry_list_.data();
        return values_.back();
    }
    void IntParameter(const std::string &name, int64_t value)
    {
        Inference__InferParameter &p = Parameter(name);
        p.parameter_choice_case = INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM;
        p.int64_param = value;
    }
    void BoolParameter(const std::string &name, bool value)
    {
        Inference__InferParameter &p = Parameter(name);
        p.parameter_choice_case = INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_BOOL_PARAM;
        p.bool_param = value;
    }
    void TextParameter(const std::string &name, const std::string &value)
    {
        Inference__InferParameter &p = Parameter(name);
        p.parameter_choice_case = INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM;
        p.string_param = Keep(value);
    }
    void DoubleParameter(const std::string &name, double value)
    {
        Inference__InferParameter &p = Parameter(name);
        p.parameter_choice_case = INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_DOUBLE_PARAM;
        p.double_param = value;
    }
    void Want(const std::string &name)
    {
        outputs_.emplace_back();
        inference__model_infer_request__infer_requested_output_tensor__init(&outputs_.back());
        outputs_.back().name = Keep(name);
        output_list_.push_back(&outputs_.back());
        m.n_outputs = output_list_.size();
        m.outputs = output_list_.data();
    }
    char *Keep(const std::string &text)
    {
        kept_.push_back(text);
        return &kept_.back()[0];
    }

  private:
    ProtobufCBinaryData Bytes(const std::string &text)
    {
        return {text.size(), reinterpret_cast<uint8_t *>(Keep(text))};
    }
    std::deque<std::string> kept_;
    std::deque<Input> inputs_;
    std::deque<Inference__InferTensorContents> contents_;
    std::deque<std::vector<int64_t>> shapes_;
    std::deque<std::vector<ProtobufCBinaryData>> bytes_;
    std::deque<int32_t> ints_;
    std::deque<std::vector<int32_t>> int_lists_;
    std::deque<std::vector<int64_t>> long_lists_;
    std::deque<float> floats_;
    std::deque<int> bools_;
    std::vector<ProtobufCBinaryData> raw_;
    std::deque<Inference__InferParameter> values_;
    std::deque<Entry> entries_;
    std::deque<Output> outputs_;
    std::vector<Input *> input_list_;
    std::vector<Entry *> entry_list_;
    std::vector<Output *> output_list_;
};

} // namespace kserve_test

#endif
